-- What is raised and cleared is told to followers, too.

-- The CHECKs of `event` name its kinds. A table of its own with other ones would mean to write all its rows anew, of which there
-- may be tens of millions; so the text of the table alone is changed, as https://sqlite.org/lang_altertable.html (7) says. No row
-- that was allowed is forbidden now.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(replace(sql,
    '''disallowed'', ''forgotten'')', '''disallowed'', ''forgotten'', ''alarm_raised'', ''alarm_cleared'')'),
    '(kind IN (''bounce'', ''complaint'', ''forgotten''))',
    '(kind IN (''bounce'', ''complaint'', ''forgotten'', ''alarm_raised'', ''alarm_cleared''))')
WHERE type = 'table' AND name = 'event';
PRAGMA writable_schema = RESET;

-- The row of `alarm` that it is about. That the schema is another one, this statement tells other connections.
ALTER TABLE event ADD COLUMN alarm INTEGER;

-- Figures that are kept instead of counted at each question, by who takes the mail as well; and alarms as events.

-- Who takes the mail of the recipient, or refused it; NULL in rows of earlier versions, and where nobody failed.
ALTER TABLE bounce ADD COLUMN provider TEXT;
ALTER TABLE complaint ADD COLUMN provider TEXT;

-- How many recipients failed by what was received on a day (UTC; the second in which it begins); empty where something is not
-- known. `hard` and `soft` are failures that have their cause at the recipient's or on the way, `blocked` those that have it in
-- the sender or the message. Of the key of sent_by_day, which has more rows, because most mail does not fail.
CREATE TABLE failed_by_day (
    day      INTEGER NOT NULL,
    domain   TEXT    NOT NULL,
    provider TEXT    NOT NULL,
    campaign TEXT    NOT NULL,
    hard     INTEGER NOT NULL,
    soft     INTEGER NOT NULL,
    blocked  INTEGER NOT NULL,
    PRIMARY KEY (day, domain, provider, campaign)
) STRICT, WITHOUT ROWID;

DROP VIEW figures_by_day;
DROP VIEW figures_by_domain;
DROP VIEW figures_by_campaign;
DROP VIEW figures;
DROP TRIGGER bounce_uncounted;
DROP TRIGGER bounce_corrected;
DROP VIEW counted;

-- The recipients that are counted. What is written here changes their totals and nothing else: `n` is 1 for one more,
-- and -1 for one less.
CREATE VIEW counted AS
SELECT at, domain, class, reason, fault, campaign, provider, 1 AS n FROM bounce WHERE action = 'failed' AND told_before = 0;

CREATE TRIGGER counted_written INSTEAD OF INSERT ON counted WHEN NEW.n <> 0 BEGIN
    INSERT INTO total_by_day (day, class, reason, fault, bounces)
    VALUES (NEW.at - NEW.at % 86400, NEW.class, NEW.reason, NEW.fault, NEW.n)
    ON CONFLICT (day, class, reason, fault) DO UPDATE SET bounces = bounces + excluded.bounces;
    DELETE FROM total_by_day
    WHERE day = NEW.at - NEW.at % 86400 AND class = NEW.class AND reason = NEW.reason AND fault = NEW.fault
      AND bounces <= 0;
    INSERT INTO total_by_domain (domain, bounces, hard, soft, bad_domain, sender_fault)
    SELECT NEW.domain, NEW.n, NEW.n * (NEW.class = 'hard'), NEW.n * (NEW.class = 'soft'),
           NEW.n * (NEW.reason = 'bad_domain'), NEW.n * (NEW.fault = 'sender')
    WHERE NEW.domain IS NOT NULL
    ON CONFLICT (domain) DO UPDATE SET bounces = bounces + excluded.bounces, hard = hard + excluded.hard,
        soft = soft + excluded.soft, bad_domain = bad_domain + excluded.bad_domain,
        sender_fault = sender_fault + excluded.sender_fault;
    DELETE FROM total_by_domain WHERE domain = NEW.domain AND bounces <= 0;
    INSERT INTO total_by_campaign (campaign, class, reason, bounces)
    SELECT NEW.campaign, NEW.class, NEW.reason, NEW.n WHERE NEW.campaign IS NOT NULL
    ON CONFLICT (campaign, class, reason) DO UPDATE SET bounces = bounces + excluded.bounces;
    DELETE FROM total_by_campaign
    WHERE campaign = NEW.campaign AND class = NEW.class AND reason = NEW.reason AND bounces <= 0;
    INSERT INTO failed_by_day (day, domain, provider, campaign, hard, soft, blocked)
    VALUES (NEW.at - NEW.at % 86400, coalesce(NEW.domain, ''), coalesce(NEW.provider, ''), coalesce(NEW.campaign, ''),
            NEW.n * (NEW.class = 'hard' AND NEW.fault NOT IN ('sender', 'content')),
            NEW.n * (NEW.class = 'soft' AND NEW.fault NOT IN ('sender', 'content')),
            NEW.n * (NEW.fault IN ('sender', 'content')))
    ON CONFLICT (day, domain, provider, campaign) DO UPDATE
    SET hard = hard + excluded.hard, soft = soft + excluded.soft, blocked = blocked + excluded.blocked;
    DELETE FROM failed_by_day
    WHERE day = NEW.at - NEW.at % 86400 AND domain = coalesce(NEW.domain, '') AND provider = coalesce(NEW.provider, '')
      AND campaign = coalesce(NEW.campaign, '') AND hard <= 0 AND soft <= 0 AND blocked <= 0;
END;

CREATE TRIGGER bounce_uncounted AFTER DELETE ON bounce BEGIN
    INSERT INTO counted (at, domain, class, reason, fault, campaign, provider, n)
    VALUES (OLD.at, OLD.domain, OLD.class, OLD.reason, OLD.fault, OLD.campaign, OLD.provider,
            -(OLD.action = 'failed' AND OLD.told_before = 0));
END;

CREATE TRIGGER bounce_corrected
AFTER UPDATE OF action, domain, class, reason, fault, campaign, at, provider, told_before ON bounce BEGIN
    INSERT INTO counted (at, domain, class, reason, fault, campaign, provider, n)
    VALUES (OLD.at, OLD.domain, OLD.class, OLD.reason, OLD.fault, OLD.campaign, OLD.provider,
            -(OLD.action = 'failed' AND OLD.told_before = 0));
    INSERT INTO counted (at, domain, class, reason, fault, campaign, provider, n)
    VALUES (NEW.at, NEW.domain, NEW.class, NEW.reason, NEW.fault, NEW.campaign, NEW.provider,
            NEW.action = 'failed' AND NEW.told_before = 0);
END;

INSERT INTO failed_by_day (day, domain, provider, campaign, hard, soft, blocked)
SELECT at - at % 86400, coalesce(domain, ''), '', coalesce(campaign, ''),
       sum(class = 'hard' AND fault NOT IN ('sender', 'content')),
       sum(class = 'soft' AND fault NOT IN ('sender', 'content')), sum(fault IN ('sender', 'content'))
FROM counted GROUP BY 1, 2, 3, 4;

-- A row for each row of sent_by_day and failed_by_day, and each complaint.
CREATE VIEW figures AS
SELECT day AS at, nullif(domain, '') AS domain, nullif(provider, '') AS provider, nullif(campaign, '') AS campaign,
       sent, delivered, 0 AS hard, 0 AS soft, 0 AS blocked, 0 AS complaints FROM sent_by_day
UNION ALL
SELECT day, nullif(domain, ''), nullif(provider, ''), nullif(campaign, ''), 0, 0, hard, soft, blocked, 0
FROM failed_by_day
UNION ALL
SELECT at, domain, provider, campaign, 0, 0, 0, 0, 0, 1 FROM complaint;

CREATE VIEW figures_by_day AS
SELECT date(at - at % 86400, 'unixepoch') AS day, at - at % 86400 AS at, sum(sent) AS sent, sum(delivered) AS delivered,
       sum(hard) AS hard, sum(soft) AS soft, sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures GROUP BY at - at % 86400;

CREATE VIEW figures_by_domain AS
SELECT domain, sum(sent) AS sent, sum(delivered) AS delivered, sum(hard) AS hard, sum(soft) AS soft,
       sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures WHERE domain IS NOT NULL GROUP BY domain;

CREATE VIEW figures_by_provider AS
SELECT provider, sum(sent) AS sent, sum(delivered) AS delivered, sum(hard) AS hard, sum(soft) AS soft,
       sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures WHERE provider IS NOT NULL GROUP BY provider;

CREATE VIEW figures_by_campaign AS
SELECT campaign, sum(sent) AS sent, sum(delivered) AS delivered, sum(hard) AS hard, sum(soft) AS soft,
       sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures WHERE campaign IS NOT NULL GROUP BY campaign;

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

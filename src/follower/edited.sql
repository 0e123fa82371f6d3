-- An edit by hand is found by this: bounced itself says behind each change of its own that the file is right.
CREATE TRIGGER IF NOT EXISTS inserted AFTER INSERT ON suppression BEGIN
    UPDATE following SET boot = '' WHERE boot <> '';
END;
CREATE TRIGGER IF NOT EXISTS updated AFTER UPDATE ON suppression BEGIN
    UPDATE following SET boot = '' WHERE boot <> '';
END;
CREATE TRIGGER IF NOT EXISTS deleted AFTER DELETE ON suppression BEGIN
    UPDATE following SET boot = '' WHERE boot <> '';
END;

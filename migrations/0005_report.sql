-- How much was sent, and what became of it: `bounced report`, docs/report.md.

-- A row for each failed recipient, each complaint, and each day of sent_by_day. `hard` and `soft` are failures that have
-- their cause at the recipient's or on the way, `blocked` those that have it in the sender or the message. Where a mail log is
-- read, the mailbox tells of the same failures once more: of a message and its recipient the first one counts.
CREATE VIEW figures AS
SELECT b.at, b.domain, NULL AS provider, b.remote_mta, b.reporting_mta, b.campaign, 0 AS sent, 0 AS delivered,
       b.class = 'hard' AND b.fault NOT IN ('sender', 'content') AS hard,
       b.class = 'soft' AND b.fault NOT IN ('sender', 'content') AS soft,
       b.fault IN ('sender', 'content') AS blocked, 0 AS complaints
FROM bounce AS b
WHERE b.action = 'failed'
  AND NOT (b.original_message_id IS NOT NULL AND EXISTS (SELECT 1 FROM mail_log)
           AND EXISTS (SELECT 1 FROM bounce AS d
                       WHERE d.address = b.address AND d.original_message_id = b.original_message_id AND d.id < b.id
                         AND d.action = 'failed'))
UNION ALL
SELECT c.at, c.domain, NULL, NULL, NULL, c.campaign, 0, 0, 0, 0, 0, 1 FROM complaint AS c
UNION ALL
SELECT s.day, s.domain, s.provider, NULL, NULL, nullif(s.campaign, ''), s.sent, s.delivered, 0, 0, 0, 0 FROM sent_by_day AS s;

CREATE VIEW figures_by_day AS
SELECT date(at - at % 86400, 'unixepoch') AS day, at - at % 86400 AS at, sum(sent) AS sent, sum(delivered) AS delivered,
       sum(hard) AS hard, sum(soft) AS soft, sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures GROUP BY at - at % 86400;

CREATE VIEW figures_by_domain AS
SELECT domain, sum(sent) AS sent, sum(delivered) AS delivered, sum(hard) AS hard, sum(soft) AS soft,
       sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures WHERE domain IS NOT NULL GROUP BY domain;

CREATE VIEW figures_by_campaign AS
SELECT campaign, sum(sent) AS sent, sum(delivered) AS delivered, sum(hard) AS hard, sum(soft) AS soft,
       sum(blocked) AS blocked, sum(complaints) AS complaints
FROM figures WHERE campaign IS NOT NULL GROUP BY campaign;

-- Counts anew what the totals keep, for a store whose rows were written by SQL. Stop the daemon, then:
-- sqlite3 bounced.db < scripts/recount.sql
BEGIN IMMEDIATE;

-- What was recorded last is no sum; it is found where it is missing.
INSERT INTO total_by_mailbox (mailbox, messages, bounces) SELECT DISTINCT mailbox, 0, 0 FROM message WHERE true
ON CONFLICT (mailbox) DO NOTHING;
UPDATE total_by_mailbox AS t SET messages = 0, bounces = 0;
UPDATE total_by_mailbox AS t
SET messages = m.messages, bounces = m.bounces, newest = coalesce(t.newest, m.newest)
FROM (SELECT mailbox, count(*) AS messages, sum(kind = 'bounce') AS bounces, max(received) AS newest
      FROM message GROUP BY mailbox) AS m
WHERE m.mailbox = t.mailbox;
UPDATE total_by_mailbox AS t SET recorded = m.recorded, lag = m.recorded - m.received
FROM (SELECT mailbox, recorded, received, max(id) FROM message GROUP BY mailbox) AS m
WHERE m.mailbox = t.mailbox AND t.recorded IS NULL;

DELETE FROM total_by_day;
INSERT INTO total_by_day (day, class, reason, fault, bounces)
SELECT at - at % 86400, class, reason, fault, count(*) FROM counted GROUP BY 1, 2, 3, 4;

DELETE FROM total_by_domain;
INSERT INTO total_by_domain (domain, bounces, hard, soft, bad_domain, sender_fault)
SELECT domain, count(*), sum(class = 'hard'), sum(class = 'soft'), sum(reason = 'bad_domain'), sum(fault = 'sender')
FROM counted WHERE domain IS NOT NULL GROUP BY domain;

DELETE FROM total_by_campaign;
INSERT INTO total_by_campaign (campaign, class, reason, bounces)
SELECT campaign, class, reason, count(*) FROM counted
WHERE campaign IS NOT NULL GROUP BY campaign, class, reason;

DELETE FROM failed_by_day;
INSERT INTO failed_by_day (day, domain, provider, campaign, hard, soft, blocked)
SELECT at - at % 86400, coalesce(domain, ''), coalesce(provider, ''), coalesce(campaign, ''),
       sum(class = 'hard' AND fault NOT IN ('sender', 'content')),
       sum(class = 'soft' AND fault NOT IN ('sender', 'content')), sum(fault IN ('sender', 'content'))
FROM counted GROUP BY 1, 2, 3, 4;

COMMIT;

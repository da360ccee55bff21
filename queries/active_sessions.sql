-- title: Active sessions
-- description: Sessions whose status is active and whose expiry is not past, whoever they belong to.
-- chart: stat
-- section: Overview
-- order: 15
-- unit: sessions

-- active_sessions   sessions as they were at the last sync; how many there were before is not known
SELECT count(*) AS active_sessions
FROM clerk_session
WHERE status = 'active' AND (expire_at IS NULL OR expire_at > $now)

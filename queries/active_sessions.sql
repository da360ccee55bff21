-- title: Active sessions
-- description: Sessions with status active that have not expired, regardless of their user.
-- chart: stat
-- section: Overview
-- order: 15
-- unit: sessions

-- active_sessions   number of sessions at the last sync; earlier values are unknown
SELECT count(*) AS active_sessions
FROM clerk_session
WHERE status = 'active' AND (expire_at IS NULL OR expire_at > $now)

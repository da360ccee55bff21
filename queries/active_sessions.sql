-- title: Active sessions
-- description: Sessions whose status is active and whose expiry is not past.
-- chart: stat
SELECT count(*) AS active_sessions
FROM clerk_session
WHERE status = 'active' AND (expire_at IS NULL OR expire_at > $now)

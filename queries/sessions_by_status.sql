-- title: Sessions by status
-- description: All sessions seen so far by their last known status, verbatim.
-- chart: table
-- section: Sessions
-- order: 40
-- unit: sessions

-- status     the status; (none) if Clerk sent no status
-- sessions   sessions with that status
SELECT coalesce(status, '(none)') AS status, count(*) AS sessions
FROM clerk_session
GROUP BY 1
ORDER BY sessions DESC, status

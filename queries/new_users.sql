-- title: New users
-- description: Users created in the 7 UTC days before today, and in the 7 days before those. Deleted users are not counted.
-- chart: stat
-- section: Overview
-- order: 11
-- unit: users

-- new_users   users whose created_at falls on one of the 7 days before today
-- previous    the same for the 7 days before those
SELECT
  count(*) FILTER (WHERE created_at >= $today - 7) AS new_users,
  count(*) FILTER (WHERE created_at < $today - 7) AS previous
FROM clerk_user
WHERE created_at >= $today - 14 AND created_at < $today

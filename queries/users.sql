-- title: Users
-- description: Users who are not banned. Deleted users are not counted.
-- chart: stat
-- section: Overview
-- order: 10
-- unit: users

-- users   users whose banned is false or unknown; earlier values are unknown, because bans have no date
SELECT count(*) AS users
FROM clerk_user
WHERE banned IS NOT TRUE

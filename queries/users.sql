-- title: Users
-- description: Users that are not banned.
-- chart: stat
SELECT count(*) AS users
FROM clerk_user
WHERE banned IS NOT TRUE

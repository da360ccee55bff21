-- title: Users
-- description: Users that are not banned; users deleted since are not counted.
-- chart: stat
-- section: Overview
-- order: 10
-- unit: users

-- users   users whose banned is false or not known; how many there were before is not known, since bans have no date
SELECT count(*) AS users
FROM clerk_user
WHERE banned IS NOT TRUE

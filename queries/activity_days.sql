-- title: Days of activity
-- description: Users active on exactly 1, 2, … 28 of the last 28 UTC days, today included. From the activity ledger: deleted users are counted, users without activity in these days are not.
-- chart: bar
-- section: Activity
-- order: 21
-- unit: users

-- days    number of days
-- users   users active on exactly this number of the last 28 days; the rows add up to today's monthly active users
WITH
  users AS (
    SELECT user_id, count(*) AS days
    FROM clerk_user_activity
    WHERE month >= to_char(CAST($today AS DATE) - 27, '%Y-%m')
      AND date BETWEEN $today - 27 AND $today
    GROUP BY user_id
  ),
  counted AS (
    SELECT days, count(*) AS users
    FROM users
    GROUP BY days
  )
SELECT numbers.days, coalesce(counted.users, 0) AS users
FROM unnest(generate_series(1, 28)) AS numbers(days)
LEFT JOIN counted ON counted.days = numbers.days
ORDER BY numbers.days

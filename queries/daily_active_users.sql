-- title: Daily active users
-- description: Users by the UTC day of their last activity, today included. The number for a past day falls when its users return; a day without users is 0.
-- chart: bar
-- parameter: lookback_days = 30 (1 to 90)
-- section: Activity
-- order: 22
-- unit: users

-- date                 the UTC day
-- daily_active_users   users whose last_active_at falls on that day; also stored in the table clerk_daily_active_users
WITH
  days AS (
    SELECT CAST($today AS DATE) - ago AS date
    FROM unnest(generate_series(0, $lookback_days - 1)) AS series(ago)
  ),
  active AS (
    SELECT CAST(last_active_at AS DATE) AS date, count(*) AS users
    FROM clerk_user
    WHERE last_active_at IS NOT NULL
    GROUP BY 1
  )
SELECT days.date, coalesce(active.users, 0) AS daily_active_users
FROM days LEFT JOIN active ON active.date = days.date
ORDER BY days.date

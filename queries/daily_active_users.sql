-- title: Daily active users
-- description: For each of the last days (UTC, today included), the users whose last activity fell on it; it falls as users come back, and is 0 where nobody's did.
-- chart: bar
-- parameter: lookback_days = 30 (1 to 90)
-- section: Activity
-- order: 22
-- unit: users

-- date                 the UTC day
-- daily_active_users   users whose last_active_at falls on it; the table clerk_daily_active_users holds this figure
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

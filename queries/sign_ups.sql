-- title: Sign-ups
-- description: Users created per UTC day, today included, and the running total. Deleted users, and users whose created_at is unknown, are not counted.
-- chart: line
-- parameter: lookback_days = 90 (1 to 3650)
-- section: Growth
-- order: 30
-- unit: users

-- date       the UTC day
-- sign_ups   users whose created_at falls on that day; 0 if there are none
-- total      users whose created_at falls on that day or an earlier day
WITH
  created AS (
    SELECT CAST(created_at AS DATE) AS date, count(*) AS users
    FROM clerk_user
    WHERE created_at < $today + 1
    GROUP BY 1
  ),
  days AS (
    SELECT CAST($today AS DATE) - ago AS date
    FROM unnest(generate_series(0, $lookback_days - 1)) AS series(ago)
  )
SELECT
  days.date,
  sum(CASE WHEN created.date = days.date THEN created.users ELSE 0 END) AS sign_ups,
  coalesce(sum(created.users), 0) AS total
FROM days LEFT JOIN created ON created.date <= days.date
GROUP BY days.date
ORDER BY days.date

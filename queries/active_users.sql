-- title: Active users
-- description: Distinct active users per UTC day (dau), and in the 7 (wau) and 28 (mau) days that end on it, today included; stickiness is dau / mau. From the activity ledger: deleted users are counted, and days that are not complete are lower bounds.
-- chart: line
-- parameter: lookback_days = 30 (1 to 90)
-- section: Activity
-- order: 20
-- unit: users

-- date         the UTC day
-- dau          users active on that day
-- wau          users active on any of the 7 days that end on that day
-- mau          users active on any of the 28 days that end on that day
-- stickiness   dau / mau; null if nobody was active in these 28 days
-- complete     whether dau is exact: the day is over, and no other user can have been active on it
-- at_most      upper bound of dau: the larger of dau and active_users of clerk_activity_day, plus its unknown_users;
--              null if unknown
WITH
  -- Activity on the days shown, and on the 27 days before them, which count for mau of the first day.
  ledger AS (
    SELECT user_id, date, $today - date AS ago
    FROM clerk_user_activity
    WHERE month >= to_char(CAST($today AS DATE) - CAST($lookback_days + 26 AS INT), '%Y-%m')
      AND date BETWEEN $today - ($lookback_days + 26) AND $today
  ),
  -- One row per user, with the days of activity as bit masks: bit n of days_30 stands for 30 + n days ago. The 28-day
  -- windows of 30 consecutive days need 57 bits, so there is one mask per 30 days.
  users AS (
    SELECT
      user_id,
      bit_or(CASE WHEN ago <= 56 THEN 1 << ago ELSE 0 END) AS days_0,
      bit_or(CASE WHEN ago BETWEEN 30 AND 86 THEN 1 << (ago - 30) ELSE 0 END) AS days_30,
      bit_or(CASE WHEN ago >= 60 THEN 1 << (ago - 60) ELSE 0 END) AS days_60
    FROM ledger
    GROUP BY user_id
  ),
  thirties AS (
    SELECT thirty, CASE thirty WHEN 0 THEN days_0 WHEN 1 THEN days_30 ELSE days_60 END AS days
    FROM unnest(generate_series(0, ($lookback_days - 1) / 30)) AS series(thirty) CROSS JOIN users
  ),
  -- Bit n of week_days says whether the user was active on any of the 7 days that end n days ago.
  weeks AS (
    SELECT
      thirty,
      days | (days >> 1) | (days >> 2) | (days >> 3) | (days >> 4) | (days >> 5) | (days >> 6) AS week_days
    FROM thirties
  ),
  -- Users with the same masks are counted together. Only the lowest 30 bits of each mask are needed.
  patterns AS (
    SELECT
      thirty,
      week_days & 1073741823 AS weekly,
      (week_days | (week_days >> 7) | (week_days >> 14) | (week_days >> 21)) & 1073741823 AS monthly,
      count(*) AS users
    FROM weeks
    GROUP BY 1, 2, 3
  ),
  trailing AS (
    SELECT
      30 * thirty + bit AS ago,
      sum(CASE WHEN (weekly >> bit) & 1 = 1 THEN users ELSE 0 END) AS wau,
      sum(CASE WHEN (monthly >> bit) & 1 = 1 THEN users ELSE 0 END) AS mau
    FROM unnest(generate_series(0, 29)) AS series(bit) CROSS JOIN patterns
    GROUP BY 1
  ),
  daily AS (
    SELECT date, count(*) AS dau
    FROM ledger
    GROUP BY date
  ),
  days AS (
    SELECT ago, CAST($today AS DATE) - ago AS date
    FROM unnest(generate_series(0, $lookback_days - 1)) AS series(ago)
  )
SELECT
  days.date,
  coalesce(daily.dau, 0) AS dau,
  coalesce(trailing.wau, 0) AS wau,
  coalesce(trailing.mau, 0) AS mau,
  CAST(coalesce(daily.dau, 0) AS DOUBLE) / nullif(trailing.mau, 0) AS stickiness,
  coalesce(known.complete AND known.active_users = coalesce(daily.dau, 0), false) AS complete,
  greatest(coalesce(daily.dau, 0), known.active_users) + known.unknown_users AS at_most
FROM days
LEFT JOIN daily ON daily.date = days.date
LEFT JOIN trailing ON trailing.ago = days.ago
LEFT JOIN clerk_activity_day AS known ON known.date = days.date
ORDER BY days.date

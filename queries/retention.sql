-- title: Retention
-- description: Of the users who signed up in a week (Monday to Sunday, UTC), the share that was active in each later week; week 0 is the whole cohort. From the activity ledger: deleted users are not counted, weeks that are not over have no share, and weeks that are not complete are lower bounds.
-- chart: heatmap
-- parameter: lookback_weeks = 12 (1 to 52)
-- section: Growth
-- order: 33
-- unit: share

-- cohort         Monday of the week of created_at
-- week           number of weeks after that week; 0 is the week itself
-- cohort_users   users of the cohort
-- active_users   users of the cohort who were active in that week (in week 0, all of them); null if it is not over
-- complete       whether active_users is exact: the week is over and all of its days are complete; true in week 0
-- retention      active_users / cohort_users; null if the week is not over or the cohort is empty
WITH
  members AS (
    SELECT id, CAST(date_trunc('week', created_at) AS DATE) AS cohort
    FROM clerk_user
    WHERE created_at >= CAST(date_trunc('week', $today) AS DATE) - 7 * ($lookback_weeks - 1)
      AND created_at < $today + 1
  ),
  cohorts AS (
    SELECT cohort, count(*) AS users
    FROM members
    GROUP BY cohort
  ),
  ledger AS (
    SELECT user_id, date
    FROM clerk_user_activity
    WHERE month >= to_char(CAST($today AS DATE) - CAST(7 * $lookback_weeks AS INT), '%Y-%m')
      AND date >= CAST(date_trunc('week', $today) AS DATE) - 7 * ($lookback_weeks - 1)
      AND date < CAST(date_trunc('week', $today) AS DATE)
  ),
  active AS (
    SELECT cohort, week, count(*) AS users
    FROM (
      SELECT DISTINCT members.id, members.cohort, (ledger.date - members.cohort) / 7 AS week
      FROM members JOIN ledger ON ledger.user_id = members.id AND ledger.date >= members.cohort
    ) AS weeks_of_activity
    GROUP BY cohort, week
  ),
  -- Complete days for which the ledger still has the number of users that it had when the day was settled.
  complete_days AS (
    SELECT date
    FROM (
      SELECT date, count(*) AS users, NULL AS known_users FROM ledger GROUP BY date
      UNION ALL
      SELECT date, 0 AS users, active_users AS known_users FROM clerk_activity_day WHERE complete
    ) AS counts
    GROUP BY date
    HAVING sum(users) = max(known_users)
  ),
  complete_weeks AS (
    SELECT CAST(date_trunc('week', date) AS DATE) AS monday
    FROM complete_days
    GROUP BY 1
    HAVING count(*) = 7
  ),
  -- Every combination of cohort and week. For a cohort of `ago` weeks ago, the weeks before week `ago` are over.
  cells AS (
    SELECT
      CAST(date_trunc('week', $today) AS DATE) - 7 * ago AS cohort,
      CAST(date_trunc('week', $today) AS DATE) - 7 * (ago - week) AS monday,
      week,
      week < ago AS is_over
    FROM unnest(generate_series(0, $lookback_weeks - 1)) AS cohort_series(ago)
    CROSS JOIN unnest(generate_series(0, $lookback_weeks - 1)) AS week_series(week)
  ),
  counted AS (
    SELECT
      cells.cohort,
      cells.week,
      coalesce(cohorts.users, 0) AS cohort_users,
      CASE
        WHEN cells.week = 0 THEN coalesce(cohorts.users, 0)
        WHEN cells.is_over THEN coalesce(active.users, 0)
      END AS active_users,
      cells.week = 0 OR (cells.is_over AND complete_weeks.monday IS NOT NULL) AS complete
    FROM cells
    LEFT JOIN cohorts ON cohorts.cohort = cells.cohort
    LEFT JOIN active ON active.cohort = cells.cohort AND active.week = cells.week
    LEFT JOIN complete_weeks ON complete_weeks.monday = cells.monday
  )
SELECT
  cohort,
  week,
  cohort_users,
  active_users,
  complete,
  CAST(active_users AS DOUBLE) / nullif(cohort_users, 0) AS retention
FROM counted
ORDER BY cohort, week

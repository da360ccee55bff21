-- title: Weekly active users
-- description: Distinct users active in the 7 UTC days before today, and in the 7 days before those. From the activity ledger: deleted users are counted, and the number is a lower bound if it is not complete.
-- chart: stat
-- section: Overview
-- order: 12
-- unit: users

-- weekly_active_users   users active on any of the 7 days before today
-- previous              the same for the 7 days before those; null if syncs began later
-- complete              whether the number is exact: all of its days are complete
WITH
  ledger AS (
    SELECT user_id, date, date >= $today - 7 AS is_recent
    FROM clerk_user_activity
    WHERE month >= to_char(CAST($today AS DATE) - 14, '%Y-%m')
      AND date >= $today - 14
      AND date < $today
  ),
  users AS (
    SELECT user_id, bool_or(is_recent) AS active, bool_or(NOT is_recent) AS active_before
    FROM ledger
    GROUP BY user_id
  ),
  -- Complete days for which the ledger still has the number of users that it had when the day was settled.
  complete_days AS (
    SELECT date
    FROM (
      SELECT date, count(*) AS users, NULL AS known_users FROM ledger WHERE is_recent GROUP BY date
      UNION ALL
      SELECT date, 0 AS users, active_users AS known_users
      FROM clerk_activity_day
      WHERE complete AND date >= $today - 7 AND date < $today
    ) AS counts
    GROUP BY date
    HAVING sum(users) = max(known_users)
  )
SELECT
  count(*) FILTER (WHERE active) AS weekly_active_users,
  CASE
    WHEN (SELECT min(date) FROM clerk_activity_day WHERE settled_at IS NOT NULL) <= $today - 14
    THEN count(*) FILTER (WHERE active_before)
  END AS previous,
  (SELECT count(*) FROM complete_days) = 7 AS complete
FROM users

-- title: Growth
-- description: Users active in each week (Monday to Sunday, UTC), split into new (signed up in it), retained (also active in the week before) and reactivated (neither); churned users were active in the week before only. From the activity ledger: deleted users are counted, and weeks that are not complete are lower bounds.
-- chart: stacked
-- parameter: lookback_weeks = 12 (1 to 52)
-- section: Growth
-- order: 32
-- unit: users

-- week          Monday of the week
-- new           active in the week, not active in the week before, signed up in the week
-- retained      active in the week and in the week before
-- reactivated   active in the week, not active in the week before, signed up in another week
-- churned       active in the week before, not active in the week
-- active        active in the week: new + retained + reactivated, which is retained + churned of the week after
-- complete      whether the numbers are exact: all days of the week and of the week before are complete
--
-- The sign-up week is unknown for users who are no longer in Clerk, or whose created_at is missing or in the future.
-- For them, the query uses the first week with activity among the weeks shown and the week before these.
WITH
  -- ago is the number of weeks before the current week, which ends on Sunday and is week 0.
  activity AS (
    SELECT user_id, date, (CAST(date_trunc('week', $today) AS DATE) + 6 - date) / 7 AS ago
    FROM clerk_user_activity
    WHERE month >= to_char(CAST($today AS DATE) - CAST(7 * $lookback_weeks + 6 AS INT), '%Y-%m')
      AND date BETWEEN CAST(date_trunc('week', $today) AS DATE) - 7 * $lookback_weeks AND $today
  ),
  sign_ups AS (
    SELECT id AS user_id, (CAST(date_trunc('week', $today) AS DATE) + 6 - CAST(created_at AS DATE)) / 7 AS ago
    FROM clerk_user
    WHERE created_at < $today + 1
  ),
  -- One row per user, with the weeks of activity as a bit mask: bit n stands for n weeks ago.
  users AS (
    SELECT user_id, bit_or(1 << ago) AS active_weeks
    FROM activity
    GROUP BY user_id
  ),
  -- Users with the same weeks are counted together. All users who signed up before these weeks have the same value.
  patterns AS (
    SELECT
      users.active_weeks,
      CASE WHEN sign_ups.ago > $lookback_weeks THEN $lookback_weeks ELSE sign_ups.ago END AS signed_up_ago,
      count(*) AS users
    FROM users LEFT JOIN sign_ups ON sign_ups.user_id = users.user_id
    GROUP BY 1, 2
  ),
  weeks AS (
    SELECT ago, CAST(date_trunc('week', $today) AS DATE) - 7 * ago AS week
    FROM unnest(generate_series(0, $lookback_weeks - 1)) AS series(ago)
  ),
  flows AS (
    SELECT
      week,
      sum(CASE WHEN active AND NOT before AND signed_up THEN users ELSE 0 END) AS new,
      sum(CASE WHEN active AND before THEN users ELSE 0 END) AS retained,
      sum(CASE WHEN active AND NOT before AND NOT signed_up THEN users ELSE 0 END) AS reactivated,
      sum(CASE WHEN before AND NOT active THEN users ELSE 0 END) AS churned,
      sum(CASE WHEN active THEN users ELSE 0 END) AS active
    FROM (
      SELECT
        weeks.week,
        patterns.users,
        (patterns.active_weeks >> weeks.ago) & 1 = 1 AS active,
        (patterns.active_weeks >> (weeks.ago + 1)) & 1 = 1 AS before,
        coalesce(patterns.signed_up_ago = weeks.ago, patterns.active_weeks >> (weeks.ago + 1) = 0) AS signed_up
      FROM weeks CROSS JOIN patterns
      WHERE (patterns.active_weeks >> weeks.ago) & 3 <> 0
    ) AS pairs
    GROUP BY week
  ),
  -- Complete days for which the ledger still has the number of users that it had when the day was settled.
  complete_days AS (
    SELECT date
    FROM (
      SELECT date, count(*) AS users, NULL AS known_users FROM activity GROUP BY date
      UNION ALL
      SELECT date, 0 AS users, active_users AS known_users FROM clerk_activity_day WHERE complete
    ) AS counts
    GROUP BY date
    HAVING sum(users) = max(known_users)
  ),
  complete_weeks AS (
    SELECT weeks.week
    FROM weeks JOIN complete_days ON complete_days.date BETWEEN weeks.week - 7 AND weeks.week + 6
    GROUP BY weeks.week
    HAVING count(*) = 14
  )
SELECT
  weeks.week,
  coalesce(flows.new, 0) AS new,
  coalesce(flows.retained, 0) AS retained,
  coalesce(flows.reactivated, 0) AS reactivated,
  coalesce(flows.churned, 0) AS churned,
  coalesce(flows.active, 0) AS active,
  complete_weeks.week IS NOT NULL AS complete
FROM weeks
LEFT JOIN flows ON flows.week = weeks.week
LEFT JOIN complete_weeks ON complete_weeks.week = weeks.week
ORDER BY weeks.week

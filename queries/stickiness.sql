-- title: Stickiness
-- description: Share of a month's active users who are active on an average day: average dau / mau of the 28 UTC days before today, and of the 28 days before those. From the activity ledger: deleted users are counted.
-- chart: stat
-- section: Overview
-- order: 14
-- unit: share

-- stickiness   average dau / mau of the 28 days before today; null if nobody was active
-- previous     the same for the 28 days before those; null if syncs began later
WITH
  users AS (
    SELECT
      user_id,
      count(*) FILTER (WHERE date >= $today - 28) AS days,
      count(*) FILTER (WHERE date < $today - 28) AS days_before
    FROM clerk_user_activity
    WHERE month >= to_char(CAST($today AS DATE) - 56, '%Y-%m')
      AND date >= $today - 56
      AND date < $today
    GROUP BY user_id
  )
SELECT
  sum(days) / 28.0 / nullif(count(*) FILTER (WHERE days > 0), 0) AS stickiness,
  CASE
    WHEN (SELECT min(date) FROM clerk_activity_day WHERE settled_at IS NOT NULL) <= $today - 56
    THEN sum(days_before) / 28.0 / nullif(count(*) FILTER (WHERE days_before > 0), 0)
  END AS previous
FROM users

-- title: Sign-ups
-- description: Users by the UTC day on which they were created, with the running total; users deleted since are not counted.
-- chart: line
SELECT
  CAST(created_at AS DATE) AS date,
  count(*) AS sign_ups,
  CAST(sum(count(*)) OVER (ORDER BY CAST(created_at AS DATE)) AS BIGINT) AS total
FROM clerk_user
WHERE created_at IS NOT NULL
GROUP BY 1
ORDER BY 1

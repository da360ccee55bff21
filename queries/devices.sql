-- title: Devices
-- description: All sessions seen so far, by device, browser and country of their latest activity. Each of the most frequent combinations has a row, and one more row has all others. Unknown values are shown as (unknown); impersonated sessions are counted.
-- chart: table
-- parameter: combinations = 30 (1 to 1000)
-- section: Sessions
-- order: 41
-- unit: sessions

-- device     device type, verbatim
-- browser    name of the browser, verbatim
-- country    country, derived from the IP address
-- sessions   sessions with this combination; the rows add up to all sessions
WITH
  counted AS (
    SELECT
      coalesce(latest_activity['device_type'], '(unknown)') AS device,
      coalesce(latest_activity['browser_name'], '(unknown)') AS browser,
      coalesce(latest_activity['country'], '(unknown)') AS country,
      count(*) AS sessions
    FROM clerk_session
    GROUP BY 1, 2, 3
  ),
  ranked AS (
    SELECT *, row_number() OVER (ORDER BY sessions DESC, device, browser, country) AS place
    FROM counted
  )
SELECT
  CASE WHEN place <= $combinations THEN device ELSE '(others)' END AS device,
  CASE WHEN place <= $combinations THEN browser ELSE '(others)' END AS browser,
  CASE WHEN place <= $combinations THEN country ELSE '(others)' END AS country,
  CAST(sum(sessions) AS BIGINT) AS sessions
FROM ranked
GROUP BY 1, 2, 3
ORDER BY min(place)

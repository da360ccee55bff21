-- title: Organizations by members
-- description: Organizations by number of members. An organization is active if it has at least two members.
-- chart: table
-- section: Organizations
-- order: 50
-- unit: organizations

-- members         number of members; null if unknown
-- organizations   organizations with exactly this number of members
-- active          whether these organizations are active
SELECT
  members_count AS members,
  count(*) AS organizations,
  coalesce(members_count >= 2, false) AS active
FROM clerk_organization
GROUP BY members_count
ORDER BY members_count

-- title: Organizations by members
-- description: Organizations by number of members; an organization is active with two members or more.
-- chart: table
-- section: Organizations
-- order: 50
-- unit: organizations

-- members         a number of members; null where it is not known
-- organizations   organizations with exactly so many
-- active          whether these are active
SELECT
  members_count AS members,
  count(*) AS organizations,
  coalesce(members_count >= 2, false) AS active
FROM clerk_organization
GROUP BY members_count
ORDER BY members_count

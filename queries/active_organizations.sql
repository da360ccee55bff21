-- title: Active organizations
-- description: Organizations with two members or more.
-- chart: stat
-- section: Overview
-- order: 16
-- unit: organizations

-- active_organizations   organizations as they were at the last sync; how many there were before is not known
SELECT count(*) AS active_organizations
FROM clerk_organization
WHERE members_count >= 2

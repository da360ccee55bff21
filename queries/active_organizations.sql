-- title: Active organizations
-- description: Organizations with at least two members.
-- chart: stat
-- section: Overview
-- order: 16
-- unit: organizations

-- active_organizations   number of organizations at the last sync; earlier values are unknown
SELECT count(*) AS active_organizations
FROM clerk_organization
WHERE members_count >= 2

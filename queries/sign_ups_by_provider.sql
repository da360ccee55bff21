-- title: Sign-ups by provider
-- description: Sign-ups per UTC day, today included, and the running total, by the provider of the user's first external account, or else by email, phone, username, web3 or other. Deleted users, and users whose created_at is unknown, are not counted.
-- chart: stacked
-- parameter: lookback_days = 90 (1 to 365)
-- section: Growth
-- order: 31
-- unit: users

-- date       the UTC day
-- provider   provider without the prefix oauth_; without a provider the first of email, phone, username and web3 that
--            the user has, or else other
-- sign_ups   users of that provider whose created_at falls on that day; 0 if there are none
-- total      users of that provider whose created_at falls on that day or an earlier day
WITH
  -- Both lists are unnested side by side. The second one has a single element, so place is 1 only for the first account
  -- of a user, or for the null row of a user without accounts.
  users AS (
    SELECT
      created_at,
      email,
      primary_phone_number_id,
      username,
      primary_web3_wallet_id,
      unnest(external_accounts) AS account,
      unnest(make_array(1)) AS place
    FROM clerk_user
    WHERE created_at < $today + 1
  ),
  created AS (
    SELECT
      CAST(created_at AS DATE) AS date,
      CASE
        WHEN account['provider'] IS NOT NULL THEN regexp_replace(account['provider'], '^oauth_', '')
        WHEN email IS NOT NULL THEN 'email'
        WHEN primary_phone_number_id IS NOT NULL THEN 'phone'
        WHEN username IS NOT NULL THEN 'username'
        WHEN primary_web3_wallet_id IS NOT NULL THEN 'web3'
        ELSE 'other'
      END AS provider,
      count(*) AS users
    FROM users
    WHERE place = 1
    GROUP BY 1, 2
  ),
  days AS (
    SELECT CAST($today AS DATE) - ago AS date
    FROM unnest(generate_series(0, $lookback_days - 1)) AS series(ago)
  )
SELECT
  days.date,
  created.provider,
  sum(CASE WHEN created.date = days.date THEN created.users ELSE 0 END) AS sign_ups,
  sum(CASE WHEN created.date <= days.date THEN created.users ELSE 0 END) AS total
FROM days CROSS JOIN created
GROUP BY days.date, created.provider
ORDER BY days.date, created.provider

"""Operations and plans in Redis, and the rate limit that they leave under."""

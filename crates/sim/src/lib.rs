//! Hubs, parties, network, disk and clock simulated from one seed, and the checker that nothing is lost (tests only).

//! Productions, items, hosts, jobs, queues, broker and supervisor.

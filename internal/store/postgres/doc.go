// Package postgres is the database of several nodes: PostgreSQL 13 or newer.
//
// The queries are those of package sqldb, run over an engine of its own; see [link] for their
// transactions. What the busiest paths ask has a form of its own here, because to PostgreSQL
// everything is a round trip and a commit: a Notify is one statement, and statements of
// callbacks that wait at the same time share a round trip and a commit (lanes.go).
// DESIGN.md says why it is as it is.
//
// # Text
//
// PostgreSQL's text holds neither NUL nor invalid UTF-8, and callbacks hold whatever somebody
// sends. Every text that goes in passes escape, every text that comes out unescape; both are
// in text.go, and nothing else in this package knows of it.
//
// # Contexts
//
// A context that ends makes pgx close the connection, and a burst of impatient callers would
// close them all (pgx #1780, #2425). So statements run under deadlines of their own. A caller
// whose context ends leaves at once, and the connection is given back by whoever waits for it.
package postgres

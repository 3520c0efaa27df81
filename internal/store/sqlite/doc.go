// Package sqlite keeps planetbell's data in one SQLite file. It is the store of a
// single node: account.Store, device.Store, call.Store and delivery.Store in one type,
// with the SQL of each subject in a file of its own.
//
// # Writes
//
// All writes go through one goroutine (writer.go). Callers queue an operation; the
// writer takes everything that waits, runs it in one transaction, syncs the disk once,
// and then answers each caller. So a write is on disk when its method returns, and
// hundreds of concurrent callers share the price of one sync. An operation that fails
// does not disturb the others of its group.
//
// A caller whose context ends stops waiting and gets bell.Unavailable; the write goes
// on and may still happen. The context itself never reaches SQLite: interrupting a
// statement has left connections unusable in more than one Go driver.
//
// # Reads
//
// Reads use a few connections of their own and see everything that was committed
// before they began.
//
// # Secrets
//
// cc_param is in one column only, calls.cc_param, and is emptied when the call ends or
// its deadline passes; secure_delete overwrites it with zeros. Copies of old pages stay
// in the write-ahead log until SQLite reuses that part of it, so the files (the
// database, "-wal" and "-shm") are readable by their owner only.
package sqlite

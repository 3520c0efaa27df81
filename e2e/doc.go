// Package e2e holds the stories of the whole product, told against the real server
// and the simulator on loopback. There is nothing but tests in it.
//
// Every secret of these tests carries a canary, and at the end of each story everything
// that left the server is searched for one: its log at debug level, its metrics, and
// every answer that was not a success (scene.close).
//
// Every verdict of docs/verdicts.md is caused by some story: when all have run, the package
// fails if one was not met (verdicts_test.go).
package e2e

// Package testchrome gives tests a headless Chromium of their own: a browser in a temporary
// folder that reaches this machine's loopback and nothing else, and pages that keep what
// must not be there: console messages, violations of the content security policy, requests to
// other hosts.
//
// Without Chromium a test is skipped and says so. Where none may be skipped, make test sets
// PLANETBELL_TEST_CHROME, and it fails instead.
package testchrome

// Package deploycheck has no code of its own: its tests hold the files in deploy/ true. Settings
// that are named there exist, probes lead to routes, times fit one another, and the load balancer's
// configuration is run by HAProxy itself, in front of two nodes.
package deploycheck

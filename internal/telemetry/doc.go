// Package telemetry is how the process tells what it does: its logger, and the guard
// that keeps secrets out of it. Other packages get a *slog.Logger passed in and build
// their own metrics from a registerer; they do not import this one.
package telemetry

package app

import "testing"

// Without a collector everybody who would write spans has a nil interface, not one with a nil in it.
func TestNobodyTracesUnlessConfigured(t *testing.T) {
	a := &App{}
	if err := a.openTraces(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.traces != nil || a.deliveryTraces() != nil || a.callbackTraces() != nil || a.traceparent() != nil || a.eventParent() != nil {
		t.Error("something is traced")
	}
}

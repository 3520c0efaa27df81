package app

import (
	"context"
	"errors"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/mailbox"
)

// receipts makes a device's receipt reach the mailbox too. The record comes first: if it
// fails, the device sends its receipt again, or is handed the call again and then does.
type receipts struct {
	engine  *delivery.Engine
	mailbox *mailbox.Mailbox
	nodes   *nodes
}

// Receive implements httpapi.Receipts.
func (r receipts) Receive(ctx context.Context, receipt bell.Receipt) (bell.Arrival, error) {
	got, err := r.engine.Receive(ctx, receipt)
	if err != nil {
		if errors.Is(err, bell.NotFound) { // perhaps another node has the call and could not record it yet
			r.nodes.received(&receipt)
		}
		return got, err
	}
	r.mailbox.Acknowledge(receipt.Environment, receipt.SessionID, receipt.DeviceID)
	r.nodes.received(&receipt)
	return got, nil
}

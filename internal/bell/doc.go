// Package bell is planetbell's own vocabulary: Device, Call, Delivery, Attempt and
// the states they pass through. It imports only planet, and everything else imports
// it; it holds no rules that need a clock, a database or a network.
package bell

package client

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
)

// Failure is an error of Sensorium with its details decoded; a detail that did not come is nil.
type Failure struct {
	*status.Status
	BadRequest *errdetails.BadRequest // which fields are at fault, and what was expected
	Info       *errdetails.ErrorInfo  // the reason, by ErrorReason: what programs branch on, after the code
	Retry      *errdetails.RetryInfo  // when to try again
}

// CallFailure returns what a call's error says; the details come in the trailer grpc-status-details-bin.
func CallFailure(err error) *Failure { return decode(status.Convert(err)) }

// ItemFailure returns what the error of one item of a batch says.
func ItemFailure(err *rpcstatus.Status) *Failure { return decode(status.FromProto(err)) }

// Reason returns the reason by its name in ErrorReason; "" where none came.
func (f *Failure) Reason() string { return f.Info.GetReason() }

// RetryDelay returns how long to wait before another try; false: another try is of no use.
func (f *Failure) RetryDelay() (time.Duration, bool) {
	if f.Retry == nil {
		return 0, false
	}
	delay := f.Retry.GetRetryDelay()
	return time.Duration(delay.GetSeconds())*time.Second + time.Duration(delay.GetNanos()), true
}

func decode(s *status.Status) *Failure {
	failure := &Failure{Status: s}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			failure.BadRequest = detail
		case *errdetails.ErrorInfo:
			failure.Info = detail
		case *errdetails.RetryInfo:
			failure.Retry = detail
		}
	}
	return failure
}

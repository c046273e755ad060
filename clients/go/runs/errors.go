package runs

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is what the gateway answered, or that it cannot be reached.
type Error struct {
	// Code is the status of gRPC.
	Code codes.Code
	// Reason says more than the code: RUN_NOT_FOUND. Without one it is the name of the code.
	Reason string
	// Message is for people.
	Message string
	// Violations are the fields that break their rules.
	Violations []Violation

	passes     bool
	retryAfter time.Duration
}

// Violation is a field that breaks its rule.
type Violation struct {
	Field, Description string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Message) }

// CodeName returns the name of the status as the contract spells it: NOT_FOUND.
func (e *Error) CodeName() string { return code.Code_name[int32(e.Code)] }

// lostCodes are those that grpc reports cuts by. The gateway's own errors have a reason.
var lostCodes = map[codes.Code]bool{
	codes.Unavailable: true, codes.Aborted: true, codes.Canceled: true, codes.Internal: true, codes.Unknown: true,
}

func lost(message string) *Error {
	return &Error{Code: codes.Unavailable, Reason: "UNAVAILABLE", Message: message, passes: true}
}

// toError returns the error that a call ended with. If the caller has ended it, that is the error.
func toError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return statusError(status.Convert(err))
}

func statusError(given *status.Status) *Error {
	result := &Error{Code: given.Code(), Message: given.Message()}
	for _, detail := range given.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			result.Reason = detail.Reason
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				result.Violations = append(result.Violations, Violation{violation.Field, violation.Description})
			}
		case *errdetails.RetryInfo:
			result.passes, result.retryAfter = true, detail.RetryDelay.AsDuration()
		}
	}
	if result.Reason == "" && lostCodes[result.Code] {
		return lost(result.Message)
	}
	if result.Reason == "" {
		result.Reason = result.CodeName()
	}
	// A deadline that was not the caller's is that of a proxy.
	result.passes = result.passes || result.Code == codes.Unavailable || result.Code == codes.DeadlineExceeded
	return result
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/runs-gateway/runs-gateway/clients/go/runs"
	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
)

// raw undoes what encoding/json does to JSON beyond what has to be, and writes short escapes as other languages do.
// The first pair passes escaped backslashes on, so that none begins an escape.
var raw = strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029", `\u0008`, `\b`, `\u000c`, `\f`)

// text returns a value as compact JSON; only what has to be is escaped in strings.
func text(value interface{}) string {
	var written strings.Builder
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // Strings and numbers can be encoded.
	}
	return raw.Replace(strings.TrimSuffix(written.String(), "\n"))
}

func member(name, value string) string { return text(name) + ":" + value }

func object(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

func array(values []string) string { return "[" + strings.Join(values, ",") + "]" }

func stateName(state runsv1.RunState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "RUN_STATE_"))
}

// showState returns the members that tell how far a run is.
func showState(run *runsv1.RunStatus) string {
	items := run.Items
	told := fmt.Sprintf(`"status":%s,"total":%d,"success":%d,"failed":%d,"cancelled":%d`,
		text(stateName(run.Status)), items.GetTotal(), items.GetSuccess(), items.GetFailed(), items.GetCancelled())
	if run.CancelReason != nil {
		told += "," + member("cancelReason", text(*run.CancelReason))
	}
	return told
}

func showResults(results []*runsv1.ItemResult) string {
	shown := make([]string, len(results))
	for place, result := range results {
		members := []string{member("itemIndex", text(result.ItemIndex)), member("status", text(stateName(result.Status)))}
		switch outcome := result.Outcome.(type) {
		case *runsv1.ItemResult_Value:
			members = append(members, member("value", outcome.Value.GetJson()))
		case *runsv1.ItemResult_Error:
			members = append(members, member("error", showItemError(outcome.Error)))
		}
		shown[place] = object(members...)
	}
	return array(shown)
}

func showItemError(failure *runsv1.ItemError) string {
	members := []string{member("code", text(failure.Code)), member("message", text(failure.Message))}
	if failure.Data != nil {
		members = append(members, member("data", failure.Data.GetJson()))
	}
	return object(members...)
}

// summarize tells of many results whether each came once, in order, and how long they are.
func summarize(results []*runsv1.ItemResult) string {
	inOrder, bytes := true, 0
	for place, result := range results {
		inOrder = inOrder && result.ItemIndex == uint64(place)
		bytes += len(result.GetValue().GetJson())
	}
	return object(member("count", text(len(results))), member("inOrder", text(inOrder)), member("bytes", text(bytes)))
}

// showError returns the member with an error.
func showError(failure *runs.Error) string {
	violations := make([]string, len(failure.Violations))
	for place, violation := range failure.Violations {
		violations[place] = object(
			member("field", text(violation.Field)), member("description", text(violation.Description)))
	}
	return member("error", object(member("code", text(failure.CodeName())),
		member("reason", text(failure.Reason)), member("violations", array(violations))))
}

package runs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// hostAndPort are addresses that grpc does not take for a name with a scheme, as dns:///HOST:PORT.
var hostAndPort = regexp.MustCompile(`^([^:/\[\]]*|\[[^/\[\]]*\]):([^:/]*)$`)

// checkAddress returns an error for what can never be the address of a gateway. Later, it would seem to be one that is away.
func checkAddress(address string) error {
	parts := hostAndPort.FindStringSubmatch(address)
	switch {
	case address == "" || strings.ContainsAny(address, " \t\r\n"):
	case strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://"):
	case parts == nil || parts[1] == "unix":
		return nil
	default:
		if port, err := strconv.ParseUint(parts[2], 10, 16); err == nil && port > 0 {
			return nil
		}
	}
	return fmt.Errorf("%q is no address: it is HOST:PORT", address)
}

{{/* The name of everything of a release. */}}
{{- define "gateway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{/* By what pods are found; it never changes. */}}
{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Whether the gateway keeps a state itself: its runs, or the idempotency keys for a runtime that knows none. */}}
{{- define "gateway.keepsState" -}}
{{- if regexMatch "^(embedded$|jsonrpc[+]|stepflow[+])" (.Values.settings.runtime | default "embedded") }}true{{ end -}}
{{- end -}}

{{/* The image, by its digest if there is one. */}}
{{- define "gateway.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end -}}
{{- end -}}

{{/* A probe of the HTTP port. */}}
{{- define "gateway.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ if .tls }}HTTPS{{ else }}HTTP{{ end }}
{{- end -}}

{{/* Refuses values that Kubernetes takes, or tells of later and elsewhere, and that cannot work. */}}
{{- define "gateway.checks" -}}
{{- $values := .Values }}
{{- if include "gateway.keepsState" . }}
{{- $why := "gateways with this one each keep runs or idempotency keys of their own (docs/deployment.md#kubernetes)" }}
{{- if gt (int $values.replicas) 1 }}
{{- fail (printf "several replicas need a settings.runtime that they share: %s" $why) }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- fail (printf "autoscaling needs a settings.runtime that gateways share: %s" $why) }}
{{- end }}
{{- end }}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end }}
{{- if and $values.settings.tls_client_ca (ne (toString $values.settings.tls_client_auth) "none") }}
{{- fail "settings.tls_client_ca: probes of Kubernetes show no certificate, so the pods would never be ready; let a mesh or a proxy ask for them" }}
{{- end }}
{{- $settings := $values.settings }}
{{- $identities := or $settings.tokens $settings.signing_key $settings.jwt_keys $settings.certificates }}
{{- if not (or $settings.insecure (and $values.tls.secretName $identities) $values.env $values.envFrom) }}
{{- fail "settings.insecure: without it, pods need tls.secretName and settings of identities (docs/security.md)" }}
{{- end }}
{{- $volumes := list "settings" "state" "tmp" "tls" }}
{{- range $values.volumes }}
{{- if has .name $volumes }}
{{- fail (printf "volumes: the name %s is taken" .name) }}
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- $paths := list "/var/lib/runs-gateway" "/tmp" }}
{{- range $values.volumeMounts }}
{{- $path := clean .mountPath }}
{{- if not (has .name $volumes) }}
{{- fail (printf "volumeMounts: there is no volume %s" .name) }}
{{- end }}
{{- if or (has $path $paths) (regexMatch "^/etc/runs-gateway(-tls)?(/|$)" $path) }}
{{- fail (printf "volumeMounts: the chart, or another mount, has something at %s" .mountPath) }}
{{- end }}
{{- $paths = append $paths $path }}
{{- end }}
{{- $names := list }}
{{- range $values.env }}
{{- if regexMatch "^RUNS_GATEWAY_((GRPC|HTTP|METRICS)_ADDRESS|TLS_(CERT|KEY|CLIENT_CA)|STATE|RUNTIME|DRAIN_(DELAY|SECONDS))$" .name }}
{{- fail (printf "env: the chart decides by settings and tls what %s says" .name) }}
{{- end }}
{{- if has .name $names }}
{{- fail (printf "env: %s is given twice" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end -}}

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
{{- $variables := list }}
{{- range $values.env }}
{{- $variables = append $variables .name }}
{{- end }}
{{- $told := join " " $variables }}
{{- $open := or $settings.insecure $values.envFrom (has "RUNS_GATEWAY_INSECURE" $variables) }}
{{- $identities := or $settings.tokens $settings.signing_key $settings.jwt_keys $settings.certificates (regexMatch "(^| )RUNS_GATEWAY_(TOKENS|SIGNING_KEY|JWT_KEYS)( |$)" $told) }}
{{- if not (or $open (and $values.tls.secretName $identities)) }}
{{- fail "settings.insecure: without it, pods need tls.secretName and settings of identities (docs/security.md)" }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "gateway.name" .)) }}
{{- fail (printf "the name of the release, %s: names of Services begin with a letter, and have small letters, digits and - alone" .Release.Name) }}
{{- end }}
{{- if and $values.image.digest $values.image.tag }}
{{- fail "image: digest and tag are both given, and a digest says it all" }}
{{- end }}
{{- $volumes := list "settings" "state" "tmp" "tls" }}
{{- range $values.volumes }}
{{- if has .name $volumes }}
{{- fail (printf "volumes: the name %s is taken" .name) }}
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- $paths := list "/var/lib/runs-gateway" "/tmp" }}
{{- $ofImage := "^/((opt|opt/runs-gateway(/.*)?|bin|dev|etc|lib|lib64|proc|sbin|sys|usr(/local)?(/(bin|sbin|lib(/python3[^/]*)?))?))?$" }}
{{- range $values.volumeMounts }}
{{- $path := clean .mountPath }}
{{- if not (has .name $volumes) }}
{{- fail (printf "volumeMounts: there is no volume %s" .name) }}
{{- end }}
{{- if or (has $path $paths) (regexMatch "^/etc/runs-gateway(-tls)?(/|$)" $path) }}
{{- fail (printf "volumeMounts: the chart, or another mount, has something at %s" .mountPath) }}
{{- end }}
{{- if regexMatch $ofImage $path }}
{{- fail (printf "volumeMounts: what the program needs of the image is at %s, and a mount would hide it" .mountPath) }}
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

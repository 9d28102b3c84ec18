{{- /*
Configuration. `config` in the values becomes a ConfigMap, `secrets` becomes a Secret:

  config:
    LOG_LEVEL: debug
    PORT: 8080
    server.properties: |
      threads=4
  secrets:
    API_KEY: …
    keystore.p12: { base64: MIIK… }

Values are text, numbers or booleans; bytes are written in base64. A key with null is left out.

  kws.configuration  the two objects: a template file of the chart holds nothing but its include
  kws.envFrom        in a container: every key is an environment variable; a secret wins over configuration of the same name
  kws.volume         in the pod's volumes, mounted where the container wants it: every key is a file
  kws.checksum       in the pod's annotations: pods are replaced when a value changes
*/ -}}

{{- define "kws.configuration" -}}
{{- with .Values.config -}}
{{- $data := include "kws.data" (dict "of" "config" "values" .) | fromJson -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "kws.name" $ }}-config
  labels:
    {{- include "kws.labels" $ | nindent 4 }}
data:
{{- range $key, $value := $data.text }}
  {{ $key | quote }}: {{ $value | toRawJson }}
{{- end }}
{{- with $data.base64 }}
binaryData:
{{- range $key, $value := . }}
  {{ $key | quote }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{ end -}}
{{- with .Values.secrets }}
{{- $data := include "kws.data" (dict "of" "secrets" "values" .) | fromJson }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "kws.name" $ }}-secrets
  labels:
    {{- include "kws.labels" $ | nindent 4 }}
type: Opaque
data:
{{- range $key, $value := $data.text }}
  {{ $key | quote }}: {{ $value | b64enc | quote }}
{{- end }}
{{- range $key, $value := $data.base64 }}
  {{ $key | quote }}: {{ $value | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "kws.envFrom" -}}
{{- if or .Values.config .Values.secrets -}}
envFrom:
{{- if .Values.config }}
  - configMapRef: { name: {{ include "kws.name" . }}-config }
{{- end }}
{{- if .Values.secrets }}
  - secretRef: { name: {{ include "kws.name" . }}-secrets }
{{- end }}
{{- end -}}
{{- end -}}

{{- define "kws.volume" -}}
name: configuration
projected:
  sources:
    - configMap: { name: {{ include "kws.name" . }}-config, optional: true }
    - secret: { name: {{ include "kws.name" . }}-secrets, optional: true }
{{- end -}}

{{- define "kws.checksum" -}}
checksum/configuration: {{ list .Values.config .Values.secrets | toJson | sha256sum }}
{{- end -}}

{{- /* JSON of what a ConfigMap or Secret holds: `text` by key, and `base64` of bytes by key. */ -}}
{{- define "kws.data" -}}
{{- $of := .of -}}
{{- $text := dict -}}
{{- $base64 := dict -}}
{{- range $key, $value := .values -}}
  {{- if not (regexMatch "^[-._a-zA-Z0-9]+$" $key) -}}
    {{- fail (printf "%s: %q cannot be a key: use letters, digits, hyphens, dots and underscores" $of $key) -}}
  {{- end -}}
  {{- if kindIs "string" $value -}}
    {{- $_ := set $text $key (toString $value) -}}
  {{- else if and (kindIs "map" $value) (hasKey $value "base64") -}}
    {{- $_ := set $base64 $key (regexReplaceAll "\\s" $value.base64 "") -}}
  {{- else if or (kindIs "map" $value) (kindIs "slice" $value) -}}
    {{- fail (printf "%s.%s must be text, a number, true or false, or { base64: … }" $of $key) -}}
  {{- else if not (kindIs "invalid" $value) -}}
    {{- $_ := set $text $key (toJson $value) -}}
  {{- end -}}
{{- end -}}
{{- dict "text" $text "base64" $base64 | toJson -}}
{{- end -}}

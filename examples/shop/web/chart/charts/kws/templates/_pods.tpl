{{- /*
What pods have in common.

  kws.probes             in a container whose port is called `http`. `health.live` and `health.ready` in the values are paths;
                         without `health` the port is tried
  kws.podSecurity        the pod's securityContext
  kws.containerSecurity  a container's securityContext; both as the Pod Security Standard "restricted" asks
*/ -}}

{{- define "kws.probes" -}}
{{- $health := .Values.health | default dict -}}
{{- with $health.live -}}
startupProbe:
  httpGet: { path: {{ . | quote }}, port: http }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: {{ . | quote }}, port: http }
{{ end -}}
readinessProbe:
  {{- with $health.ready }}
  httpGet: { path: {{ . | quote }}, port: http }
  {{- else }}
  tcpSocket: { port: http }
  {{- end }}
  periodSeconds: 2
{{- end -}}

{{- define "kws.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "kws.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

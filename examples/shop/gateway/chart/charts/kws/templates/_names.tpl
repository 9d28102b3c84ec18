{{- /*
Names, labels and images. All but kws.image take the chart's context: include "kws.labels" .
Names are to be quoted, because a service may be called 2048: name: {{ include "kws.name" . | quote }}
*/ -}}

{{- /* The name of the service's objects: the release's, or the chart's own where it is part of an umbrella chart. */ -}}
{{- define "kws.name" -}}
{{- $name := ternary .Chart.Name .Release.Name (contains "/charts/" .Template.BasePath) -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of its Service, which has to begin with a letter. */ -}}
{{- define "kws.serviceName" -}}
{{- $name := include "kws.name" . -}}
{{ regexMatch "^[a-z]" $name | ternary "" "s-" }}{{ $name | trunc 61 | trimSuffix "-" }}
{{- end -}}

{{- /* The labels of every object. `partOf` in the values names the application that the service belongs to. */ -}}
{{- define "kws.labels" -}}
{{ include "kws.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | default .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
{{- with .Values.partOf }}
app.kubernetes.io/part-of: {{ . | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
{{- end -}}

{{- /* The labels that find the service's pods. They never change, as a Deployment's selector may not. */ -}}
{{- define "kws.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* include "kws.image" .Values.image: a digest wins over a tag. */ -}}
{{- define "kws.image" -}}
{{ printf "%s%s" .repository (.digest | empty | ternary (printf ":%v" .tag) (printf "@%s" .digest)) | quote }}
{{- end -}}

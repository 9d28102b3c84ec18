{{- /* The environment variables that lead to the database. */ -}}
{{- define "orders.database" -}}
- name: DATABASE_PASSWORD
  valueFrom:
    secretKeyRef: { name: {{ .Values.database.secret }}, key: password }
- name: DATABASE_URL
  value: postgres://{{ .Values.database.user }}:$(DATABASE_PASSWORD)@{{ .Values.database.host }}:5432/{{ .Values.database.name }}
{{- end -}}

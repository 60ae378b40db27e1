"""The whole URL map; /v1/* never comes here (the gateway's front takes it first)."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
